package proxy

// requestStack is how many bytes of stack a request needs at most, with some to spare.
const requestStack = 12 << 10

// growStack makes the stack of the goroutine large enough for a request. Over HTTP/2 each request has a new goroutine, whose
// stack would grow three times on the way to the upstream. Each time it is copied, with every function on it looked up;
// here there are few of them. On a goroutine whose stack is large already, it costs nothing.
//
// The stack grows when a function with large variables is called, whether they are used or not: pass false.
//
//go:noinline
func growStack(use bool) (sum byte) {
	if use {
		var unused [requestStack]byte
		for i := range unused {
			sum += unused[i]
		}
	}
	return sum
}
