package listen

import (
	"cmp"
	"fmt"
)

// Limits are the keys of the section "limits" that concern connections.
type Limits struct {
	Connections           int `yaml:"connections" doc:"connections to the public listener and to listen.http; for a further one, an idle or slow one without a signed-in caller is closed"`
	ConnectionsPerAddress int `yaml:"connections_per_address" doc:"connections from one IPv4 address or IPv6 /64 that is not in trusted_proxies; a quarter of all when absent"`
}

const (
	defaultConnections = 30_000
	mostConnections    = 10_000_000
)

// DefaultLimits returns the limits that apply if none are configured.
func DefaultLimits() Limits { return Limits{Connections: defaultConnections} }

// MaxConnections returns the limit of connections: the default if it is configured as 0.
func (l Limits) MaxConnections() int { return cmp.Or(l.Connections, defaultConnections) }

// PerAddress returns the limit for each address where total connections are allowed: a quarter of them, at least one, if
// it is configured as 0.
func (l Limits) PerAddress(total int) int { return cmp.Or(l.ConnectionsPerAddress, (total+3)/4) }

// Check reports every fault of l by its path.
func (l Limits) Check(fault func(path, problem string)) {
	switch {
	case l.Connections < 0:
		fault("connections", fmt.Sprintf("%d is negative; write a number such as %d", l.Connections, defaultConnections))
	case l.Connections > mostConnections:
		fault("connections", fmt.Sprintf("%d is more than one server can have; write at most %d", l.Connections, mostConnections))
	}
	switch {
	case l.ConnectionsPerAddress < 0:
		fault("connections_per_address", fmt.Sprintf("%d is negative; write a number such as %d", l.ConnectionsPerAddress, defaultConnections/4))
	case l.ConnectionsPerAddress > l.MaxConnections():
		fault("connections_per_address", fmt.Sprintf("%d is more than limits.connections, %d; write fewer", l.ConnectionsPerAddress, l.MaxConnections()))
	}
}
