//go:build tools

// Package tools pins Jaeger, in a module of its own because it is made for an
// older core of the Collector than the log agent's.
package tools

import _ "github.com/jaegertracing/jaeger/cmd/jaeger"
