//go:build unix

package machine

import "syscall"

// MostFiles is how many descriptors this process may have; 0 when it is not known.
func MostFiles() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return int(min(limit.Cur, 1<<30))
}
