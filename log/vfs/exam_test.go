package vfs_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/log/vfs/vfstest"
)

// noneOpen fails the test when it ends with handles left open.
func noneOpen(t *testing.T, fsys interface{ OpenFiles() int }) {
	t.Cleanup(func() { require.Zero(t, fsys.OpenFiles(), "handles left open") })
}

func TestExam(t *testing.T) {
	for name, newFS := range map[string]vfstest.NewFS{
		"OS": func(t *testing.T) (vfs.FS, string) { return vfs.OS(), t.TempDir() },
		"Mem": func(t *testing.T) (vfs.FS, string) {
			m := vfs.NewMem()
			noneOpen(t, m)
			return m, "/"
		},
		"MemDeep": func(t *testing.T) (vfs.FS, string) {
			m := vfs.NewMem()
			require.NoError(t, m.MkdirAll("some/where"))
			noneOpen(t, m)
			return m, "some/where"
		},
		"Crash": func(t *testing.T) (vfs.FS, string) {
			c := vfs.NewCrash()
			noneOpen(t, c)
			return c, "/"
		},
		"CrashAfter": func(t *testing.T) (vfs.FS, string) {
			c := vfs.NewCrash()
			require.NoError(t, c.MkdirAll("/data"))
			return c.After(vfs.KeepAll, 0).Kill(0), "/data"
		},
		"LimitOS": func(t *testing.T) (vfs.FS, string) {
			l := vfs.Limit(vfs.OS(), 3)
			noneOpen(t, l)
			return l, t.TempDir()
		},
		"LimitMem": func(t *testing.T) (vfs.FS, string) {
			m := vfs.NewMem()
			l := vfs.Limit(m, 2)
			noneOpen(t, m)
			noneOpen(t, l)
			return l, "/"
		},
		"Fold":         func(*testing.T) (vfs.FS, string) { return vfs.Fold(vfs.NewMem()), "/" },
		"LimitOne":     func(t *testing.T) (vfs.FS, string) { return vfs.Limit(vfs.NewCrash(), 1), "/" },
		"Fault":        func(t *testing.T) (vfs.FS, string) { return vfs.NewFault(vfs.OS()), t.TempDir() },
		"FaultLimit":   func(t *testing.T) (vfs.FS, string) { return vfs.NewFault(vfs.Limit(vfs.NewMem(), 4)), "/" },
		"LimitedFault": func(t *testing.T) (vfs.FS, string) { return vfs.Limit(vfs.NewFault(vfs.NewMem()), 4), "/" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			vfstest.Test(t, newFS)
		})
	}
}
