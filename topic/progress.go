package topic

import (
	"path/filepath"
	"strings"

	"github.com/quirelog/quire/log/vfs"
)

// Progress tells how far a long piece of work is.
type Progress struct {
	Done, Total int64 // bytes of data; Total may grow while a log is written to
	Topic       string
	Partition   int32
}

// meter counts what is done and tells of it now and then.
type meter struct {
	tell func(Progress) // nil: nobody asks
	at   Progress
	told int64 // at.Done when tell was last called
}

// meterBytes is how much is done between two calls of tell.
const meterBytes = 4 << 20

// expect adds the data files of directories to what is to be done.
func (m *meter) expect(fsys vfs.FS, dirs ...string) {
	if m.tell == nil {
		return
	}
	for _, dir := range dirs {
		names, _ := fsys.List(dir)
		for _, name := range names {
			if !strings.HasSuffix(name, ".log") {
				continue
			}
			if info, err := fsys.Stat(filepath.Join(dir, name)); err == nil {
				m.at.Total += info.Size
			}
		}
	}
}

// begin says which partition comes next.
func (m *meter) begin(tp TopicPartition) { m.at.Topic, m.at.Partition = tp.Topic, tp.Partition }

// add counts n bytes.
func (m *meter) add(n int64) {
	m.at.Done += n
	if m.at.Done-m.told >= meterBytes {
		m.show()
	}
}

// end says that all is done.
func (m *meter) end() {
	m.at.Total = m.at.Done
	m.show()
}

func (m *meter) show() {
	m.told = m.at.Done
	m.at.Total = max(m.at.Total, m.at.Done)
	if m.tell != nil {
		m.tell(m.at)
	}
}
