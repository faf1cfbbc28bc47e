package main

import (
	"sallyport/oidc"
	"sallyport/oidc/claimed"
)

// noteGroups returns what remembers the groups of each identity that a provider tells of.
func noteGroups(m *claimed.Memory) func(oidc.Identity) {
	return func(id oidc.Identity) {
		m.Note(claimed.Claim{User: id.Key, At: id.Issued, Stated: id.Groups.Stated, Incomplete: id.Groups.Incomplete}, id.Groups.Names)
	}
}
