package importer

import (
	"errors"
	"regexp"
	"strings"
	"sync"
)

// expression is the rule of a router of Traefik, version 2.
type expression interface {
	test(host string) test // that requests for a host match
	hosts() []string       // that are named
}

type (
	unknownExpression struct{}
	notExpression     struct{ inner expression }
	bothExpression    struct {
		operator    string
		left, right expression
	}
	callExpression struct {
		name string
		args []string
	}
)

func (unknownExpression) test(string) test { return impossible }
func (unknownExpression) hosts() []string  { return nil }

func (e notExpression) test(host string) test { return e.inner.test(host).negated() }
func (e notExpression) hosts() []string       { return e.inner.hosts() }

func (e bothExpression) test(host string) test {
	a, b := e.left.test(host), e.right.test(host)
	if e.operator == "&&" {
		return test{sure: all(a.sure, b.sure), maybe: all(a.maybe, b.maybe)}
	}
	return test{sure: oneOf(a.sure, b.sure), maybe: oneOf(a.maybe, b.maybe)}
}

func (e bothExpression) hosts() []string { return append(e.left.hosts(), e.right.hosts()...) }

func (e callExpression) hosts() (hosts []string) {
	if e.name == "Host" || e.name == "HostHeader" {
		return e.args
	}
	return nil
}

// test returns the test of one matcher: that one of its arguments fits.
func (e callExpression) test(host string) test {
	t := test{sure: never, maybe: never}
	for _, arg := range e.args {
		one := impossible
		switch e.name {
		case "Host", "HostRegexp", "HostHeader":
			one = hostMatches(arg, host)
		case "Path":
			if !strings.ContainsAny(arg, "{}") {
				one = pathIs(arg)
			}
		case "PathPrefix":
			if !strings.ContainsAny(arg, "{}") {
				one = pathBegins(arg)
			}
		case "Method":
			one = methodIs(strings.ToUpper(arg))
		}
		t = test{sure: oneOf(t.sure, one.sure), maybe: oneOf(t.maybe, one.maybe)}
	}
	return t
}

var template = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\{[^{}:]*(?::([^{}]*))?\}`) })

// hostMatches is the test that a host fits a template such as {name:[a-z]+}.example.com.
func hostMatches(pattern, host string) test {
	var expression strings.Builder
	expression.WriteString("(?i)^")
	last := 0
	for _, at := range template().FindAllStringSubmatchIndex(pattern, -1) {
		expression.WriteString(regexp.QuoteMeta(pattern[last:at[0]]))
		inner := "[^.]+"
		if at[2] >= 0 {
			inner = pattern[at[2]:at[3]]
		}
		expression.WriteString("(?:" + inner + ")")
		last = at[1]
	}
	if rest := pattern[last:]; strings.ContainsAny(rest, "{}") {
		return impossible
	}
	expression.WriteString(regexp.QuoteMeta(pattern[last:]) + "$")
	re, err := regexp.Compile(expression.String())
	switch {
	case err != nil:
		return impossible
	case re.MatchString(host):
		return exactly(always)
	}
	return exactly(never)
}

var errExpression = errors.New("is no rule of Traefik that is known here")

// parseExpression parses a rule: matchers with arguments in quotes, !, && and || between them, and parentheses.
func parseExpression(text string) (expression, error) {
	p := &ruleParser{text: text}
	e, err := p.either(0)
	if p.blanks(); err == nil && p.at < len(p.text) {
		err = errExpression
	}
	return e, err
}

type ruleParser struct {
	text string
	at   int
}

func (p *ruleParser) blanks() {
	for p.at < len(p.text) && strings.ContainsRune(" \t", rune(p.text[p.at])) {
		p.at++
	}
}

func (p *ruleParser) accepts(word string) bool {
	p.blanks()
	if strings.HasPrefix(p.text[p.at:], word) {
		p.at += len(word)
		return true
	}
	return false
}

func (p *ruleParser) either(depth int) (expression, error) {
	return p.joined("||", depth, func(d int) (expression, error) { return p.joined("&&", d, p.one) })
}

func (p *ruleParser) joined(operator string, depth int, next func(int) (expression, error)) (expression, error) {
	if depth > maxDepth || len(p.text) > 4096 {
		return nil, errExpression
	}
	e, err := next(depth + 1)
	for err == nil && p.accepts(operator) {
		var right expression
		if right, err = next(depth + 1); err == nil {
			e = bothExpression{operator, e, right}
		}
	}
	return e, err
}

var matcherName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z]+`) })

func (p *ruleParser) one(depth int) (expression, error) {
	if depth > maxDepth {
		return nil, errExpression
	}
	if p.accepts("!") {
		inner, err := p.one(depth + 1)
		return notExpression{inner}, err
	}
	if p.accepts("(") {
		e, err := p.either(depth + 1)
		if err == nil && !p.accepts(")") {
			err = errExpression
		}
		return e, err
	}
	name := matcherName().FindString(p.text[p.at:])
	p.at += len(name)
	if name == "" || !p.accepts("(") {
		return nil, errExpression
	}
	args, err := p.arguments()
	return callExpression{name, args}, err
}

func (p *ruleParser) arguments() (args []string, err error) {
	for {
		p.blanks()
		if p.at >= len(p.text) || !strings.ContainsRune("`\"'", rune(p.text[p.at])) {
			return nil, errExpression
		}
		quote := p.text[p.at]
		end := strings.IndexByte(p.text[p.at+1:], quote)
		if end < 0 {
			return nil, errExpression
		}
		args = append(args, p.text[p.at+1:p.at+1+end])
		p.at += end + 2
		if p.accepts(")") {
			return args, nil
		}
		if !p.accepts(",") {
			return nil, errExpression
		}
	}
}
