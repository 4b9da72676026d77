//go:build !linux

package main

import "errors"

// shutDown needs Linux.
func shutDown(string) error { return errors.ErrUnsupported }
