package group

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/quirelog/quire/group/assignor"
	"github.com/quirelog/quire/topic"
)

func TestDescribe(t *testing.T) {
	d := drive(t, Config{}, abc(2))
	assert.Equal(t, Description{Name: "g", State: Dead}, d.m.describe())
	assert.Equal(t, "Dead", d.m.describe().State.String())
	ids := together(d, 1)
	classic := d.m.describe()
	assert.Equal(t, Stable, classic.State)
	assert.Equal(t, ids[0], classic.Leader)
	assert.Equal(t, []string{"a"}, classic.Members[0].Topics)
	assert.Equal(t, "for "+ids[0], string(classic.Members[0].Assignment))
	assert.Empty(t, classic.Members[0].Assigned, "not the bytes of an assignment")

	d = drive(t, Config{}, abc(2))
	d.send(entering("1", "a"))
	server := d.m.describe()
	assert.Equal(t, Description{
		Name: "g", State: Stable, ServerSide: true, ProtocolType: assignor.ProtocolType, Protocol: "uniform", Generation: 1, TargetEpoch: 1,
		Members: []MemberDescription{{
			MemberID: "1", ClientID: "c", ClientHost: "/h", Session: 45 * time.Second, Rebalance: time.Minute, Topics: []string{"a"},
			Assigned: []topic.TopicPartition{tp("a", 0), tp("a", 1)}, Target: []topic.TopicPartition{tp("a", 0), tp("a", 1)}, Epoch: 1,
		}},
	}, server)
}

func TestCodes(t *testing.T) {
	assert.Equal(t, "group: no such member (UNKNOWN_MEMBER_ID)", ErrUnknownMember.Error())
	assert.Equal(t, "7", Code(7).Name())
	assert.Equal(t, "State(9)", State(9).String())
	for c := Code(-1); c < 200; c++ { // every code that has a name has one of its own
		if n := c.Name(); n[0] >= 'A' {
			for o := Code(-1); o < c; o++ {
				assert.NotEqual(t, n, o.Name())
			}
		}
	}
}
