package main

import (
	"time"

	"github.com/spf13/cobra"

	"sallyport/duration"
)

const day = duration.Day

// durationValue is the value of a flag: a duration as people write it, in days too.
type durationValue time.Duration

// durationFlag adds a flag to c whose value is a duration.
func durationFlag(c *cobra.Command, name string, preset time.Duration, usage string) *time.Duration {
	d := preset
	c.Flags().Var((*durationValue)(&d), name, usage)
	return &d
}

// Type implements the interface of a flag's value.
func (*durationValue) Type() string { return "duration" }

// String implements the interface of a flag's value. The help of a flag does not show "0" as its default.
func (d *durationValue) String() string {
	if *d == 0 {
		return "0"
	}
	return duration.Format(time.Duration(*d))
}

// Set implements the interface of a flag's value.
func (d *durationValue) Set(text string) error {
	v, err := duration.Parse(text)
	if err == nil {
		*d = durationValue(v)
	}
	return err
}
