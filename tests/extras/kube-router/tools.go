//go:build tools

// Package tools names the commands that are built here, so that go.sum holds what they need.
package tools

import (
	_ "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router"
	_ "github.com/osrg/gobgp/v3/cmd/gobgp"
)
