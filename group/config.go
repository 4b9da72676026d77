package group

import (
	"github.com/quirelog/quire/group/assignor"
	"math"
	"time"
)

// Config has the rules of a coordinator that can be chosen. A zero field means its default, which is Kafka's.
type Config struct {
	// MinSession and MaxSession bound the session timeout of members of the classic protocol: 6 s and 30 min.
	MinSession time.Duration
	MaxSession time.Duration
	// InitialDelay is how long the first generation of an empty group waits for more members: 3 s. Negative is not at all.
	InitialDelay time.Duration
	// NewMemberTimeout is how long a new member's first join may wait before it must be asked again: 5 min.
	NewMemberTimeout time.Duration
	// MaxSize is how many members a group may have: no limit.
	MaxSize int
	// MaxMetadata is how many bytes of metadata a committed offset may carry: 4096.
	MaxMetadata int
	// OffsetRetention is how long offsets are kept that are not used: 7 days. Time in which no engine was open does not count.
	OffsetRetention time.Duration
	// ServerSession and ServerHeartbeat are the session timeout and the heartbeat interval of the server-side protocol: 45 s and 5 s.
	ServerSession   time.Duration
	ServerHeartbeat time.Duration
	// Assignors are those of the server-side protocol, the first one for members that do not ask for one: Uniform and ServerRange.
	Assignors []assignor.Assignor
	// Migration says whether groups with members may change between the protocols: both ways.
	Migration Migration
}

// Migration says in which direction a group that has members may change its protocol. A group without members always may.
type Migration uint8

// The directions.
const (
	// MigrateBoth: a member of the server-side protocol makes the group one of that protocol, and when the last such member goes, while all
	// others speak the classic one, the group is classic again.
	MigrateBoth Migration = iota
	// MigrateUp: only to the server-side protocol.
	MigrateUp
	// MigrateDown: only to the classic protocol.
	MigrateDown
	// MigrateNever: in no direction.
	MigrateNever
)

func (m Migration) up() bool   { return m == MigrateBoth || m == MigrateUp }
func (m Migration) down() bool { return m == MigrateBoth || m == MigrateDown }

func (c Config) withDefaults() Config {
	orDuration := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
	}
	orDuration(&c.MinSession, 6*time.Second)
	orDuration(&c.MaxSession, 30*time.Minute)
	orDuration(&c.InitialDelay, 3*time.Second)
	orDuration(&c.NewMemberTimeout, 5*time.Minute)
	orDuration(&c.OffsetRetention, 7*24*time.Hour)
	orDuration(&c.ServerSession, 45*time.Second)
	orDuration(&c.ServerHeartbeat, 5*time.Second)
	c.InitialDelay = max(c.InitialDelay, 0)
	if c.MaxSize == 0 {
		c.MaxSize = math.MaxInt32
	}
	if c.MaxMetadata == 0 {
		c.MaxMetadata = 4096
	}
	if len(c.Assignors) == 0 {
		c.Assignors = []assignor.Assignor{assignor.Uniform(), assignor.ServerRange()}
	}
	return c
}
