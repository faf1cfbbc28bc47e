package main

import (
	"errors"
	"sync"

	"sallyport/admin"
	"sallyport/config"
	"sallyport/proxy"
)

// rulesOf returns compiled rules for package admin.
func rulesOf(r *proxy.Rules) admin.Rules {
	return admin.Rules{Policies: r.Policies(), Routes: r.Routes(), Target: r.Target}
}

// parseRules returns the rules of a text that is called name.
func parseRules(name, text string) (admin.Rules, error) {
	parsed, err := config.ParseRules(name, []byte(text))
	if err != nil {
		return admin.Rules{}, err
	}
	return compileRules(parsed)
}

func compileRules(parsed *config.Rules) (admin.Rules, error) {
	compiled, err := proxy.CompileRules(parsed.Settings)
	if err != nil {
		return admin.Rules{}, err
	}
	rules := rulesOf(compiled)
	rules.Tests, rules.Place = parsed.Tests, parsed.Place
	return rules, nil
}

// rulesInForce are the rules in force, and the file that they are from.
type rulesInForce struct {
	rules func() *proxy.Rules
	file  func() *config.File

	mu     sync.Mutex // guards the fields below
	parsed *config.File
	places *config.Rules // of the text of parsed; nil if it cannot be read
}

// now returns the rules in force, with their tests and where they stand in the file.
func (f *rulesInForce) now() admin.Rules {
	file, rules := f.file(), rulesOf(f.rules())
	rules.Tests, rules.Console = file.Tests, file.Console.Policy()
	rules.Place = func(path string) (line, col int) {
		if places := f.placesIn(file); places != nil {
			return places.Place(path)
		}
		return 0, 0
	}
	return rules
}

func (f *rulesInForce) placesIn(file *config.File) *config.Rules {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.parsed != file {
		f.parsed = file
		f.places, _ = config.ParseRules("", file.Text)
	}
	return f.places
}

// parse returns the rules of a changed configuration, or of the parts of one that replace those in force.
func (f *rulesInForce) parse(text string) (admin.Rules, error) {
	parsed, err := config.ParseChange("", []byte(text), f.file().Text)
	if faults := (config.Faults)(nil); errors.As(err, &faults) {
		return admin.Rules{}, adminFaults(faults, func(text string) string { return text })
	}
	if err != nil {
		return admin.Rules{}, err
	}
	return compileRules(parsed)
}

// adminFaults returns faults for package admin, with each text as clean returns it.
func adminFaults(faults config.Faults, clean func(string) string) (list admin.Faults) {
	for _, f := range faults {
		list = append(list, admin.Fault{Line: f.Line, Col: f.Col, Path: clean(f.Path), Problem: clean(f.Problem)})
	}
	return list
}
