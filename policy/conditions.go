package policy

import (
	"runtime"
	"sync"
	"weak"
)

// conditions finds conditions that are in use by their texts: one load of the configuration compiles each text several
// times, to check it and for each route. It keeps none.
type conditions struct {
	mu     sync.Mutex // guards byText
	byText map[string]weak.Pointer[condition]
}

var compiledConditions = conditions{byText: map[string]weak.Pointer[condition]{}}

func (all *conditions) of(text string) (*condition, error) {
	all.mu.Lock()
	c := all.byText[text].Value()
	all.mu.Unlock()
	if c != nil {
		return c, nil
	}
	c, err := newCondition(text)
	if err != nil {
		return nil, err
	}
	runtime.AddCleanup(c, all.forget, text)
	all.mu.Lock()
	defer all.mu.Unlock()
	all.byText[text] = weak.Make(c)
	return c, nil
}

// forget removes a text of which no condition is in use.
func (all *conditions) forget(text string) {
	all.mu.Lock()
	defer all.mu.Unlock()
	if c, ok := all.byText[text]; ok && c.Value() == nil {
		delete(all.byText, text)
	}
}

// conditionsOf returns the conditions of lists that compile.
func conditionsOf(lists []Named) (all []*condition) {
	for _, list := range lists {
		for _, r := range list.Rules {
			if m := r.match(); m != nil && m.When != "" {
				if c, err := compileCondition(m.When); err == nil {
					all = append(all, c)
				}
			}
		}
	}
	return all
}
