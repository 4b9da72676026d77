//go:build race

package thin

const raced = true
