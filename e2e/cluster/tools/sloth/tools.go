//go:build tools

// Package tools pins sloth, with which `make bench` compares.
package tools

import _ "github.com/slok/sloth/cmd/sloth"
