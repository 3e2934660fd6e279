package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/internal/config"
	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/internal/program"
	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/keystore/backup"
	"github.com/keyreeve/keyreeve/keystore/bolt"
	"github.com/keyreeve/keyreeve/keystore/rootkey"
)

// The exit codes. They are part of the interface: scripts act on them.
const (
	exitDone = iota
	exitOther
	exitUsage
	exitNoStore
	exitRefused
	exitNotFound
	exitInUse
	exitWrongKey
	exitDamaged
	exitRolledBack
	exitDiskFull
	exitNotRunning
)

var exitMeanings = []string{
	exitDone:       "done",
	exitOther:      "any other failure",
	exitUsage:      "usage: a wrong command, flag, argument or setting",
	exitNoStore:    "not initialised: there is no store in the data folder",
	exitRefused:    "refused: it exists already, a temporary folder, a bad name, a bad certificate, a role that is not enough",
	exitNotFound:   "not found: no such client, key, user or administrator",
	exitInUse:      "in use: another server or command holds the data folder",
	exitWrongKey:   "root key, or the identity or passphrase of a backup: wrong, missing, or open to others",
	exitDamaged:    "damaged: store or journal is not what was written",
	exitRolledBack: "rolled back: store and journal do not belong together",
	exitDiskFull:   "disk full",
	exitNotRunning: "not running: the command needs the server, and it is not there",
}

// A failure is an error that knows its exit code and what to do about it.
type failure = program.Failure

var commands = program.Commands{UsageCode: exitUsage, RefusedCode: exitRefused}

func usage(cmd *cobra.Command, format string, args ...any) error {
	return commands.Usage(cmd, format, args...)
}

func refuse(hint, format string, args ...any) error {
	return &failure{Code: exitRefused, Err: fmt.Errorf(format, args...), Hint: hint}
}

// An answer is what errors of one kind mean to the person at the terminal.
type answer struct {
	is   error
	code int
	hint string
}

const (
	hintRestore = "restore a backup: move the folder away, and keyreeve backup restore FILE --data DIR; what lies there now was not changed"
	hintKey     = "name the right one with --root-key FILE or --passphrase-file FILE; the store was not changed"
)

var answers = []answer{
	{config.ErrInvalid, exitUsage, "deploy/keyreeve.yaml explains every setting"},
	{durable.ErrTemporary, exitRefused, "take a folder that lasts, or add --dev for a store that may be lost"},
	{durable.ErrLocked, exitInUse, "stop the other one first, or use its admin socket"},
	{backup.ErrIdentity, exitWrongKey, "name the right one with --identity FILE or --backup-passphrase FILE"},
	{backup.ErrNotBackup, exitDamaged, "take a file that keyreeve backup create made"},
	{backup.ErrVersion, exitDamaged, ""},
	{backup.ErrDamaged, exitDamaged, ""},
	{backup.ErrRecipient, exitRefused, "keyreeve backup keygen makes an identity and prints its recipient"},
	{backup.ErrBusy, exitRefused, ""},
	{keystore.ErrRolledBack, exitRolledBack, "put back the newest copies of store and journal, from one moment"},
	{keystore.ErrJournalCut, exitRolledBack, ""},
	{keystore.ErrForeignJournal, exitRolledBack, "put back the store and the journal that belong together"},
	{audit.ErrForeign, exitRolledBack, "put back the store and the journal that belong together"},
	{keystore.ErrWrongRootKey, exitWrongKey, hintKey},
	{rootkey.ErrMissing, exitWrongKey, hintKey},
	{rootkey.ErrTooOpen, exitWrongKey, ""},
	{rootkey.ErrNotRootKey, exitWrongKey, hintKey},
	{rootkey.ErrDamaged, exitWrongKey, ""},
	{rootkey.ErrInsideData, exitRefused, "whoever copied the folder would have the key with it; put it elsewhere"},
	{rootkey.ErrNoParams, exitWrongKey, ""},
	{rootkey.ErrParams, exitWrongKey, ""},
	{rootkey.ErrShort, exitRefused, ""},
	{audit.ErrMissing, exitDamaged, hintRestore},
	{audit.ErrCorrupt, exitDamaged, hintRestore},
	{audit.ErrForked, exitDamaged, "keep everything as it is; find out who could write here, and compare with copies from elsewhere"},
	{audit.ErrCheckpoint, exitDamaged, "give the checkpoint and the public key that belong to this journal"},
	{audit.ErrArchived, exitNotFound, "read it from the archive: give its folder"},
	{audit.ErrVersion, exitDamaged, "run the version that wrote it, or a newer one"},
	{keystore.ErrCorrupt, exitDamaged, hintRestore},
	{keystore.ErrFormat, exitDamaged, "run the version that wrote it, or a newer one"},
	{keystore.ErrDiskFull, exitDiskFull, "free space on the disk of the data folder"},
	{audit.ErrDiskFull, exitDiskFull, "free space on the disk of the data folder"},
	{keystore.ErrNoStore, exitNoStore, "make one: keyreeve init --data DIR"},
	{bolt.ErrNoFile, exitNoStore, "make one: keyreeve init --data DIR"},
	{admin.ErrNotRunning, exitNotRunning, "start it: keyreeve server --data DIR"},
}

var codeOf = map[admin.Code]int{
	admin.CodeBadRequest: exitUsage,
	admin.CodeNotFound:   exitNotFound,
	admin.CodeForbidden:  exitRefused,
	admin.CodeExists:     exitRefused,
	admin.CodeRefused:    exitRefused,
	admin.CodeDiskFull:   exitDiskFull,
	admin.CodeDamaged:    exitDamaged,
	admin.CodeFailed:     exitOther,
}

// judge returns the exit code and the hint for an error.
func judge(err error) (code int, hint string) {
	if f, ok := errors.AsType[*failure](err); ok {
		return f.Code, f.Hint
	}
	if e, ok := errors.AsType[*admin.Error](err); ok {
		return codeOf[e.Code], e.Hint
	}
	for _, a := range answers {
		if errors.Is(err, a.is) {
			return a.code, a.hint
		}
	}
	if durable.IsDiskFull(err) {
		return exitDiskFull, "free space on the disk of the data folder"
	}
	return exitOther, ""
}
