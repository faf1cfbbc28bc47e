package response

// Cause says who ended a live connection. It is a label of sallyport_live_ended_total. The set is closed.
//
// A stop decides first: the cause of the first stop counts, whatever the client and the upstream did because of it.
// Otherwise it is the side whose end the proxy saw first:
//
//	client    The client closed its side of a tunnel, or its connection or stream; a write to it failed; or it broke off
//	          or garbled its request body.
//	upstream  The upstream completed the response or closed its side of a tunnel; or it broke off.
//	cut       A change of the directory, the session, the policies or the routes took the access away, or it expired.
//	stall     The client did not read, or did not send more of its body, for longer than limits.stall.
//	slow      The body of an anonymous request was slower than limits.min_body_rate.
//	shutdown  The server stopped. While it does, the end of a stream by its client is counted here too: net/http closes
//	          connections without saying why.
//	error     The proxy gave up: the upstream did not respond in time, the body was larger than the route allows, or a
//	          fault of the proxy.
type Cause string

const (
	ByClient   Cause = "client"
	ByUpstream Cause = "upstream"
	ByCut      Cause = "cut"
	ByStall    Cause = "stall"
	BySlow     Cause = "slow"
	ByShutdown Cause = "shutdown"
	ByError    Cause = "error"
)
