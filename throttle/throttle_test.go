package throttle

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// wantAllow checks what successive calls of Allow report.
func wantAllow(t *testing.T, throttle *Throttle, address string, want ...bool) {
	t.Helper()
	for i, allowed := range want {
		if got := throttle.Allow(address); got != allowed {
			t.Errorf("Allow(%s), call %d: %v, want %v", address, i+1, got, allowed)
		}
	}
}

// fill calls Allow for n addresses that no test uses otherwise.
func fill(throttle *Throttle, n int) {
	for i := range n {
		throttle.Allow(fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255))
	}
}

func TestThrottle_AllowsBurstThenRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		throttle := New(2, 3)
		wantAllow(t, throttle, "192.0.2.1", true, true, true, false)
		wantAllow(t, throttle, "192.0.2.2", true)
		time.Sleep(time.Second)
		wantAllow(t, throttle, "192.0.2.1", true, true, false)
	})
}

func TestThrottle_Exhausted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		throttle := New(2, 3)
		wantAllow(t, throttle, "192.0.2.1", true, true, true, false)
		wantAllow(t, throttle, "192.0.2.2", true, true)
		for address, want := range map[string]bool{
			"192.0.2.1":        true,
			"::ffff:192.0.2.1": true,
			"192.0.2.2":        false,
			"192.0.2.3":        false,
			"not an address":   false,
		} {
			if got := throttle.Exhausted(address); got != want {
				t.Errorf("Exhausted(%s): %v, want %v", address, got, want)
			}
		}
		wantAllow(t, throttle, "192.0.2.2", true, false) // Exhausted took no token
		time.Sleep(time.Second/2 - time.Nanosecond)
		if !throttle.Exhausted("192.0.2.1") {
			t.Error("the address has a token again before its time")
		}
		time.Sleep(time.Nanosecond)
		if throttle.Exhausted("192.0.2.1") {
			t.Error("the address has no token again after half a second")
		}
	})
}

func TestThrottle_CountsIPv6BySubscriber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		throttle := New(2, 3)
		wantAllow(t, throttle, "2001:db8::1", true, true, true)
		wantAllow(t, throttle, "2001:db8::ffff:1", false) // the same /64
		wantAllow(t, throttle, "2001:db8::2%eth0", false) // the zone makes no difference
		wantAllow(t, throttle, "2001:db8:0:1::1", true)
		wantAllow(t, throttle, "192.0.2.1", true, true, true)
		wantAllow(t, throttle, "::ffff:192.0.2.1", false)
		wantAllow(t, throttle, "not an address", true, true, true, true)
	})
}

func TestThrottle_MemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		throttle := New(2, 3)
		fill(throttle, 1_000_000)
		if n := len(throttle.current) + len(throttle.previous); n > 2*maxAddresses {
			t.Errorf("%d buckets are held", n)
		}
	})
}

func TestThrottle_RemembersAddressForOneGeneration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		throttle := New(2, 3)
		wantAllow(t, throttle, "192.0.2.1", true, true, true, false)
		fill(throttle, maxAddresses-1)
		if len(throttle.previous) != 0 || len(throttle.current) != maxAddresses {
			t.Errorf("%d and %d buckets are held", len(throttle.current), len(throttle.previous))
		}
		fill(throttle, maxAddresses) // one new address starts a new generation
		if len(throttle.previous) != maxAddresses || len(throttle.current) != 1 {
			t.Errorf("%d and %d buckets are held", len(throttle.current), len(throttle.previous))
		}
		if !throttle.Exhausted("192.0.2.1") {
			t.Error("an address of the previous generation is forgotten")
		}
		wantAllow(t, throttle, "192.0.2.1", false) // moves to the current generation
		if client, _ := clientPrefix("192.0.2.1"); throttle.current[client] == nil {
			t.Error("an address that was used again is not in the current generation")
		}
	})
}

func TestThrottle_ForgetsAddressAfterTwoGenerations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		throttle := New(2, 3)
		wantAllow(t, throttle, "192.0.2.1", true, true, true, false)
		fill(throttle, 3*maxAddresses)
		if throttle.Exhausted("192.0.2.1") {
			t.Error("the address is remembered")
		}
		wantAllow(t, throttle, "192.0.2.1", true)
	})
}
