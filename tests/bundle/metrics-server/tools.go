//go:build tools

// Package tools names the commands that the bundle builds, so that go.sum holds what they need.
package tools

import (
	_ "sigs.k8s.io/metrics-server/cmd/metrics-server"
)
