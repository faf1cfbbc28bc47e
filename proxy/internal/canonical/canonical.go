// Package canonical gives every host and every path one spelling, so that what the proxy decides is what the upstream
// receives.
//
// Two servers that read a host or a path differently are the oldest way around an access rule. A spelling that some
// server is known to read differently is therefore an error, not something to repair. Every function is pure.
package canonical
