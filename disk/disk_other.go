//go:build !linux

package disk

import (
	"errors"
	"math"
	"os"
)

const (
	keepSize = 0
	seekHole = 0 // finds the beginning, so that no file counts as whole
)

func forget(*os.File) error { return nil }

func allocate(*os.File, uint32, int64, int64) error { return errors.ErrUnsupported }

func capacity(*os.File) (int64, error) { return math.MaxInt64, nil }

func mapFile(*os.File, int64) ([]byte, error) { return nil, errors.ErrUnsupported }

func unmapFile([]byte) {}

func prefetch([]byte) {}
