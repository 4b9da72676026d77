package main

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const (
	// ext4Shutdown is EXT4_IOC_SHUTDOWN of Linux, _IOR('X', 125, __u32).
	ext4Shutdown = 0x8004587d
	// goingDownNow is EXT4_GOING_FLAGS_NOLOGFLUSH: stop at once, without writing the journal out.
	goingDownNow = 2
)

// shutDown stops a mounted ext4 as if the power had gone.
func shutDown(mnt string) error {
	dir, err := os.Open(mnt)
	if err != nil {
		return err
	}
	err = unix.IoctlSetPointerInt(int(dir.Fd()), ext4Shutdown, goingDownNow)
	if err != nil {
		err = fmt.Errorf("shutdown of %s: %w", mnt, err)
	}
	return errors.Join(err, dir.Close())
}
