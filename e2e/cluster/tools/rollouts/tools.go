//go:build tools

// Package tools pins the controller of Argo Rollouts, in a module of its own
// because it is made for an older client of Kubernetes.
package tools

import _ "github.com/argoproj/argo-rollouts/cmd/rollouts-controller"
