package oidc

// Groups is what a token says about the groups of its user. It never decides anything: what was pushed does. It is only
// compared with that, to find where provisioning and the provider differ.
type Groups struct {
	Names      []string // ids or names, as the provider is set up; at most maxGroups
	Stated     bool     // the token says something of groups
	Incomplete bool     // the user is in more groups than Names has
}

// Bounds of what is read of a groups claim. Entra names 200 groups at most.
const maxGroups, maxGroup = 200, 256

// groups returns what the claim groups has. In place of too many groups, Entra's tokens have only a hint where they can be
// asked for: _claim_names, or hasgroups.
func (c *claims) groups() Groups {
	elsewhere, _ := c.all["_claim_names"].(map[string]any)
	hint, _ := c.all["hasgroups"].(bool)
	g := Groups{Incomplete: elsewhere["groups"] != nil || hint}
	claim := c.all["groups"]
	g.Stated = claim != nil || g.Incomplete
	elements, isList := claim.([]any)
	if !isList && claim != nil {
		elements = []any{claim}
	}
	for _, element := range elements {
		name, ok := element.(string)
		if !ok || name == "" || len(name) > maxGroup || len(g.Names) == maxGroups {
			g.Incomplete = true
			continue
		}
		g.Names = append(g.Names, name)
	}
	return g
}

// TellOfGroups has fn told of every login that succeeds, and of every token of a user that is verified for the first time; not
// of tokens from the cache. fn must return at once. Call it before [Provider.Run]; it holds for those that take the place of p
// too.
func (p *Provider) TellOfGroups(fn func(Identity)) { p.proven = fn }

// tell tells of an identity that a user proved just now.
func (c *common) tell(id Identity) {
	if c.proven != nil && id.App == "" {
		c.proven(id)
	}
}
