package examples

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// A Bar shows how far a step has come, on a terminal; elsewhere it is silent. Many goroutines may show at once.
type Bar struct {
	out   io.Writer // nil: nobody watches
	label string
	total int64

	mu    sync.Mutex
	drawn time.Time
}

const barWidth = 40

// NewBar begins a bar on out if that is a terminal.
func NewBar(out io.Writer, label string, total int64) *Bar {
	b := &Bar{label: label, total: total}
	if isTerminal(out) {
		b.out = out
	}
	return b
}

func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// Show draws n of total, at most some twenty times a second.
func (b *Bar) Show(n int64) {
	if b.out == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if time.Since(b.drawn) < 50*time.Millisecond {
		return
	}
	b.drawn = time.Now()
	full := int(min(n*barWidth/max(b.total, 1), barWidth))
	fmt.Fprintf(b.out, "\r%-10s [%s%s] %d/%d", b.label, strings.Repeat("#", full), strings.Repeat(".", barWidth-full), n, b.total)
}

// Done wipes the bar away.
func (b *Bar) Done() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.out != nil && !b.drawn.IsZero() {
		fmt.Fprintf(b.out, "\r%s\r", strings.Repeat(" ", barWidth+60))
	}
}
