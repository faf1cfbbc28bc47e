package scim

import "time"

// Settings is the scim node of the configuration.
type Settings struct {
	OnPublic         bool  `yaml:"on_public" doc:"answer on the public listener too, on public_url's host"`
	MaxDeactivations Brake `yaml:"max_deactivations" doc:"beyond it, deactivations are held for a human"`
}

// Brake is so many changes in so long a time.
type Brake struct {
	Count int           `yaml:"count" doc:"how many deactivations"`
	Per   time.Duration `yaml:"per" doc:"in how long a time"`
}

// Defaults is what absent keys mean.
func Defaults() Settings { return Settings{MaxDeactivations: Brake{50, 10 * time.Minute}} }

// Check reports every fault of s.
func (s Settings) Check(fault func(path, problem string)) {
	if s.MaxDeactivations.Count < 0 {
		fault("max_deactivations.count", "is negative; write how many deactivations are usual at once, such as 50")
	}
	if s.MaxDeactivations.Per < 0 {
		fault("max_deactivations.per", "is negative; write a time such as 10m")
	}
}
