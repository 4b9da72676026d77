package vfs

import "math/rand/v2"

// sectorFate is what becomes of one sector.
type sectorFate uint8

const (
	sectorTorn    sectorFate = iota // written up to one of its writes, or old
	sectorZero                      // allocated, never written
	sectorGarbage                   // allocated, with what the disk held before
)

// sectors applies writes to a file sector by sector.
type sectors struct {
	policy Policy
	dice   *rand.Rand
	writes []kept
	left   map[int64]int // how many more writes each sector takes
	fate   map[int64]sectorFate
}

func newSectors(policy Policy, dice *rand.Rand, writes []kept) *sectors {
	return &sectors{policy, dice, writes, make(map[int64]int), make(map[int64]sectorFate)}
}

// apply brings the file to the state after the cut.
func (s *sectors) apply(m *image) {
	durable := m.size
	end := s.draw(durable)
	for _, w := range s.writes {
		if w.kind == changeTruncate {
			if w.whole {
				m.truncate(w.off)
			}
			continue
		}
		s.eachSector(w, func(sector int64, part []byte, off int64) {
			if s.left[sector] > 0 && s.fate[sector] == sectorTorn {
				s.left[sector]--
				m.writeAt(part, off)
			}
		})
	}
	// A length may be durable without the data below it.
	if s.policy != TornSectors && s.policy != MixedSectors || s.dice.Uint64()&1 == 0 {
		m.size = max(m.size, end)
	}
	s.litter(m, end)
}

// draw rolls the dice for every sector in order and returns the new length.
func (s *sectors) draw(durable int64) (end int64) {
	count := make(map[int64]int)
	var order []int64
	end = durable
	for _, w := range s.writes {
		if w.kind == changeTruncate {
			if w.whole {
				end = w.off
			}
			continue
		}
		end = max(end, w.off+int64(len(w.data)))
		s.eachSector(w, func(sector int64, _ []byte, _ int64) {
			if count[sector] == 0 {
				order = append(order, sector)
			}
			count[sector]++
		})
	}
	for _, sector := range order {
		s.left[sector] = s.dice.IntN(count[sector] + 1)
		s.fate[sector] = s.drawFate(sector*SectorBytes >= durable)
		// A fresh sector is as written or a ruin, nothing between.
		if s.policy != TornSectors && s.fate[sector] == sectorTorn && sector*SectorBytes >= durable && s.policy != MixedSectors {
			s.left[sector] = count[sector]
		}
	}
	return end
}

// drawFate rolls for one sector. Only fresh ones can be ruined.
func (s *sectors) drawFate(fresh bool) sectorFate {
	roll := s.dice.IntN(4)
	if !fresh {
		return sectorTorn
	}
	switch {
	case s.policy == ZeroedSectors && roll < 2, s.policy == MixedSectors && roll == 0:
		return sectorZero
	case s.policy == GarbageSectors && roll < 2, s.policy == MixedSectors && roll == 1:
		return sectorGarbage
	}
	return sectorTorn
}

// litter fills ruined sectors as far as the file reaches: with the length lost,
// what lies behind it is lost too.
func (s *sectors) litter(m *image, end int64) {
	for _, w := range s.writes {
		if w.kind == changeTruncate {
			continue
		}
		s.eachSector(w, func(sector int64, _ []byte, _ int64) {
			at := sector * SectorBytes
			stop := min(at+SectorBytes, m.size, end)
			if s.fate[sector] != sectorGarbage || at >= stop {
				return
			}
			junk := make([]byte, stop-at)
			for i := range junk {
				junk[i] = byte(s.dice.Uint64())
			}
			m.writeAt(junk, at)
			s.fate[sector] = sectorTorn
		})
	}
}

// eachSector cuts a write at sector borders.
func (s *sectors) eachSector(w kept, do func(sector int64, part []byte, off int64)) {
	data, off := w.data, w.off
	for len(data) > 0 {
		sector := off / SectorBytes
		n := min(int64(len(data)), (sector+1)*SectorBytes-off)
		do(sector, data[:n], off)
		data, off = data[n:], off+n
	}
}
