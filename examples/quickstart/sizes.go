package main

import (
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/quirelog/quire/examples"
)

// inputSize is the size of the lines as text.
func inputSize(visits []examples.Visit) int64 {
	n := 0
	for _, v := range visits {
		n += len(v.Text) + 1
	}
	return int64(n)
}

// directorySize adds up the files below dir.
func directorySize(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	return total, err
}

func size(n int64) string { return fmt.Sprintf("%.2f MB", float64(n)/1e6) }
