//go:build tools

// Package tools names the commands that are built here, so that go.sum holds what they need.
package tools

import (
	_ "github.com/containernetworking/plugins/plugins/meta/flannel"
)
