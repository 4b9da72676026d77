package topictest_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quirelog/quire/topic"
	"github.com/quirelog/quire/topic/topictest"
)

// shop is what these examples test.
type shop struct{ orders *topic.Topic }

func (s *shop) checkout(ctx context.Context, id string) error {
	_, err := s.orders.Append(ctx, topic.Record{Key: []byte(id), Value: []byte("paid")})
	return err
}

func ExampleNew() {
	_ = func(t *testing.T) { // func TestCheckout(t *testing.T) {
		eng := topictest.New(t)
		s := &shop{eng.OpenTopic("orders")}
		if err := s.checkout(t.Context(), "o-1"); err != nil {
			t.Fatal(err)
		}
		topictest.RequireKeys(t, s.orders, "o-1")
	}
}

func ExampleEngine_Crash() {
	_ = func(t *testing.T) { // func TestNothingPaidIsLost(t *testing.T) {
		eng := topictest.New(t)
		s := &shop{eng.OpenTopic("orders")}
		if err := s.checkout(t.Context(), "o-1"); err != nil {
			t.Fatal(err)
		}
		eng.Crash(topictest.LoseUnsynced)
		topictest.RequireKeys(t, eng.OpenTopic("orders"), "o-1")
	}
}

func ExampleEngine_FailWrites() {
	_ = func(t *testing.T) { // func TestCheckoutTellsAFullDisk(t *testing.T) {
		eng := topictest.New(t)
		s := &shop{eng.OpenTopic("orders")}
		eng.FailWrites(0)
		if err := s.checkout(t.Context(), "o-1"); err == nil {
			t.Error("paid for nothing")
		}
		topictest.RequireKeys(t, s.orders)
	}
}

func ExampleAwait() {
	_ = func(t *testing.T) { // func TestCheckoutByItself(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			eng := topictest.New(t)
			s := &shop{eng.OpenTopic("orders")}
			time.AfterFunc(time.Hour, func() { _ = s.checkout(context.Background(), "o-1") })
			topictest.Await(t, s.orders, 1, 2*time.Hour) // at once: the clock is the bubble's
		})
	}
}
