package vfs

import (
	"path/filepath"
	"strings"
	"syscall"
)

// nameBytes is the longest base name the file systems in memory take, the limit
// of the common ones on disk.
const nameBytes = 255

// splitPath cleans a path and cuts it into its elements; the root gives none. Relative
// paths start at the root too.
func splitPath(name string) ([]string, error) {
	if name == "" {
		return nil, syscall.ENOENT
	}
	if strings.IndexByte(name, 0) >= 0 {
		return nil, syscall.EINVAL
	}
	parts := make([]string, 0, 4)
	for part := range strings.SplitSeq(filepath.ToSlash(name), "/") {
		switch {
		case part == "" || part == ".":
		case part == "..":
			parts = parts[:max(len(parts)-1, 0)]
		case len(part) > nameBytes:
			return nil, syscall.ENAMETOOLONG
		default:
			parts = append(parts, part)
		}
	}
	return parts, nil
}

// below reports whether path is dir itself or lies under it. Both are cleaned.
func below(dir, path string) bool {
	if len(path) < len(dir) || path[:len(dir)] != dir {
		return false
	}
	return len(path) == len(dir) || path[len(dir)] == filepath.Separator ||
		dir != "" && dir[len(dir)-1] == filepath.Separator
}
