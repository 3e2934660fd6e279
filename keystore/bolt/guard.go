package bolt

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/keyreeve/keyreeve/keystore"
)

// guard runs a call into bbolt. A panic, and an access to memory that the damaged file led to, become ErrCorrupt:
// bbolt asserts where it meets what cannot be.
func guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		r := recover()
		if e, ok := fault(r); ok {
			err = e
		} else if _, ok := r.(runtime.Error); ok { // its text is of pointers and lengths, not of files
			err = fmt.Errorf("%w: a page holds what bbolt never writes", keystore.ErrCorrupt)
		} else if r != nil {
			err = fmt.Errorf("%w: bbolt: %v", keystore.ErrCorrupt, r)
		}
	}()
	return fn()
}

// fault reports whether a recovered value is an access to memory that is not there: a mapped page that could not be
// read from disk, or lies behind the end of a file that was cut. A nil dereference is none: that is a bug of ours.
func fault(r any) (error, bool) {
	if _, ok := r.(interface {
		runtime.Error
		Addr() uintptr
	}); !ok {
		return nil, false
	}
	return fmt.Errorf("%w: a page cannot be read: the disk failed, or the file was cut while it was open", keystore.ErrCorrupt), true
}

// rescue, deferred, turns a fault into *err and lets every other panic go on.
func rescue(err *error) {
	r := recover()
	if r == nil {
		return
	}
	e, ok := fault(r)
	if !ok {
		panic(r)
	}
	*err = e
}
