package throttle_test

import (
	"fmt"

	"sallyport/throttle"
)

// A server counts failed authentications only: a client with a valid token is never delayed.
func Example() {
	failures := throttle.New(5, 2)
	authenticate := func(address, token string) string {
		switch {
		case token == "valid":
			return "signed in"
		case failures.Exhausted(address):
			return "too many failures"
		}
		failures.Allow(address)
		return "invalid token"
	}
	fmt.Println(authenticate("192.0.2.1", "guess"))
	fmt.Println(authenticate("192.0.2.1", "guess"))
	fmt.Println(authenticate("192.0.2.1", "guess"))
	fmt.Println(authenticate("192.0.2.1", "valid"))
	// Output:
	// invalid token
	// invalid token
	// too many failures
	// signed in
}
