package vfs

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// holderLine is what a lock file says about who has it.
func holderLine(holder string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "?"
	}
	holder = strings.Join(strings.Fields(holder), " ")
	return fmt.Sprintf("pid %d on %s since %s: %s", os.Getpid(), host, time.Now().UTC().Format(time.RFC3339), holder)
}

// held is a lock or a witness: closed for the first time it is given back.
type held struct {
	once    sync.Once
	release func()
}

func (h *held) Close() error {
	h.once.Do(h.release)
	return nil
}
