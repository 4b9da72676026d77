//go:build !unix

package machine

// MostFiles is how many descriptors this process may have; 0 when it is not known.
func MostFiles() int { return 0 }
