//go:build unix

package disk

import (
	"fmt"
	"os"
	"syscall"
)

// OwnAs gives the file at path to the owner of the file or folder at like. Root makes files for the user that a server
// runs as; anybody else makes files of their own, and nothing is done.
func OwnAs(path, like string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(like)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("the owner of %s is unknown", like)
	}
	return os.Lchown(path, int(owner.Uid), int(owner.Gid))
}
