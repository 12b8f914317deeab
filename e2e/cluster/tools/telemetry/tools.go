//go:build tools

// Package tools pins what turns the cluster's own state into telemetry beside
// the Collector in otelcol/: both are built on client-go, compiled once here.
package tools

import _ "k8s.io/kube-state-metrics/v2"
