package topic

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/quirelog/quire/log/vfs"
)

const (
	// uptimeFile has the spans of time in which no engine was open, as far as they are known, and when one was last seen to be.
	uptimeFile = "quire.uptime"
	// uptimeEvery is how often it is written at most, while it is asked for.
	uptimeEvery = 10 * time.Minute
	// uptimeJump is by how much a clock may go wrong before the time around it counts for nothing.
	uptimeJump = time.Minute
	// uptimeMost is how many spans are kept; beyond it the oldest ones become one.
	uptimeMost = 64
)

// Downtime is a span of time, in milliseconds since 1970, in which no engine was open on the directory, or of which that is not known, or
// in which the clock jumped.
type Downtime struct{ From, To int64 }

// uptime keeps the downtimes. Its file is read when they are first asked for.
type uptime struct {
	mu      sync.Mutex
	known   bool
	list    []Downtime // not changed once made
	seen    time.Time  // when the engine was last seen to be open
	written time.Time
}

// Downtimes lists the spans of time in which no engine was open, in the order in which they were found, for those that let time count only
// while one is. It notes, for the next engine, that this one is open now; how long it was open after it was last asked, that one knows only
// after a stop in good order. Where nothing is known, as of the time before the first call, no engine was open.
func (e *Engine) Downtimes() []Downtime {
	if e.readOnly || e.closing == nil {
		return nil
	}
	now := time.Now()
	u := &e.uptime
	u.mu.Lock()
	defer u.mu.Unlock()
	due := now.Sub(u.written) >= uptimeEvery
	if !u.known {
		data, err := vfs.ReadFile(e.fs, filepath.Join(e.dir, uptimeFile), smallFile)
		alive := int64(0)
		if err == nil {
			u.list, alive = parseUptime(data)
		}
		u.list, u.known, due = withDowntime(u.list, alive, now.UnixMilli()), true, true
	} else if before := u.seen.UnixMilli(); now.UnixMilli()-before-now.Sub(u.seen).Milliseconds() > uptimeJump.Milliseconds() {
		u.list, due = withDowntime(u.list, before, now.UnixMilli()), true
	}
	u.seen = now
	if due {
		e.writeUptimeLocked(now)
	}
	return u.list
}

// closeUptime notes that the engine was open until now.
func (e *Engine) closeUptime() {
	u := &e.uptime
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.known {
		e.writeUptimeLocked(time.Now())
	}
}

// writeUptimeLocked writes the file. When it cannot be written more time counts as downtime, which is no more than that.
func (e *Engine) writeUptimeLocked(now time.Time) {
	e.uptime.written = now
	if err := vfs.WriteFile(e.fs, filepath.Join(e.dir, uptimeFile), formatUptime(e.uptime.list, now.UnixMilli())); err != nil {
		e.logger.Warn("uptime not written", "dir", e.dir, "err", err)
	}
}

// withDowntime adds a span, if it is one.
func withDowntime(list []Downtime, from, to int64) []Downtime {
	if from >= to {
		return list
	}
	list = append(slices.Clone(list), Downtime{from, to})
	if len(list) > uptimeMost {
		list[1].From = min(list[0].From, list[1].From)
		list = list[1:]
	}
	return list
}

// formatUptime is the file: a line with its checksum, one with the time of the writing, and one for each span.
func formatUptime(list []Downtime, alive int64) []byte {
	body := fmt.Appendf(nil, "%d\n", alive)
	for _, d := range list {
		body = fmt.Appendf(body, "%d %d\n", d.From, d.To)
	}
	return append(fmt.Appendf(nil, "quire-uptime 1 %08x\n", crc32.ChecksumIEEE(body)), body...)
}

// parseUptime reads it. What is damaged says nothing.
func parseUptime(data []byte) (list []Downtime, alive int64) {
	head, body, _ := bytes.Cut(data, []byte("\n"))
	if want := fmt.Sprintf("quire-uptime 1 %08x", crc32.ChecksumIEEE(body)); string(head) != want {
		return nil, 0
	}
	r := bytes.NewReader(body)
	if _, err := fmt.Fscan(r, &alive); err != nil {
		return nil, 0
	}
	for {
		var d Downtime
		if n, _ := fmt.Fscan(r, &d.From, &d.To); n < 2 {
			return list, alive
		}
		list = append(list, d)
	}
}
