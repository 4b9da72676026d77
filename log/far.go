package log

import (
	"errors"

	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/segment"
)

// splitFar splits segments whose offsets lie farther from their bases than the entries of an index tell, as old versions of Apache Kafka wrote
// them, and opens the log's segments again. One that is damaged, or for which the disk has no room, stays as it is: it can be read.
func (o *opener) splitFar() error {
	if o.st.ReadOnly {
		return nil
	}
	split := false
	for _, s := range o.segments {
		far, err := s.Far()
		if err == nil && far {
			err = s.Split()
			split = split || err == nil
		}
		switch {
		case errors.Is(err, segment.ErrCorrupt), vfs.IsNoSpace(err):
			o.report.Notes = append(o.report.Notes, err)
		case err != nil:
			return err
		}
	}
	if !split {
		return nil
	}
	for _, s := range o.segments {
		if err := s.Close(); err != nil {
			return err
		}
	}
	o.segments, o.bases = nil, nil
	if err := o.list(); err != nil {
		return err
	}
	return o.openSegments()
}
