package examples

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAccessLog(t *testing.T) {
	visits, err := AccessLog()
	require.NoError(t, err)
	require.Len(t, visits, 10_000)

	clients := map[string]bool{}
	size := 0
	for i, v := range visits {
		require.Equal(t, i, v.Line)
		clients[v.Client] = true
		size += len(v.Text) + 1
	}
	assert.Len(t, clients, 1753)
	assert.Equal(t, 2_370_789, size)
	assert.Equal(t, "83.149.9.216", visits[0].Client)
	assert.Equal(t, time.Date(2015, 5, 17, 10, 5, 3, 0, time.UTC), visits[0].Time)
}

func TestParseVisitRefuses(t *testing.T) {
	for _, text := range []string{"", "one", "1.2.3.4 - - 17/May/2015", "1.2.3.4 - - [yesterday] \"GET /\""} {
		_, err := parseVisit([]byte(text))
		assert.Error(t, err, "%q", text)
	}
}
