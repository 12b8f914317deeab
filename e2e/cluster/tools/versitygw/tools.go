//go:build tools

// Package tools pins the S3 server that Loki's object store is tested with.
package tools

import _ "github.com/versity/versitygw/cmd/versitygw"
