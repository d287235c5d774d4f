/**
 * The shell script that stands between us and the server, so that the server cannot outlive us.
 *
 * It makes the database cluster, starts the server and waits for whichever comes first: the server's end, or the end of its own standard
 * input. That input is a pipe whose other end this process holds, so it ends when we close it and also when we are killed with SIGKILL,
 * which nothing inside this process could answer. Either way it stops the server (fast, then immediate, then by force, 5 seconds each; it
 * asks again and again, because a server that is still starting ignores the first signal) and removes the folder. It runs in a session of
 * its own and ignores the terminal's signals: Ctrl-C reaches us first, and the server stops because we do.
 *
 * Arguments: the folder, the folder of the programs, then the server's settings. It prints nothing; what went wrong is in `<folder>/log`,
 * and `<folder>/failed` appears when the server could not start or is gone. The folder stays until we let go, so that we can read both.
 */
export const guardian = `
PATH=/usr/bin:/bin
export PATH
umask 077
trap '' INT TERM HUP
dir=$1
bin=$2
shift 2
cd "$dir" || exit 1
exec 3<&0

fail() {
  : > "$dir/failed"
  read -r _ <&3
  cd / && rm -rf "$dir"
  exit 1
}

"$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C --no-sync --no-instructions > "$dir/log" 2>&1 < /dev/null || fail

"$bin/postgres" -D "$dir/data" "$@" >> "$dir/log" 2>&1 < /dev/null 3<&- &
server=$!

{
  read -r _ <&3
  for signal in INT QUIT KILL; do
    tries=0
    while kill -$signal "$server" 2> /dev/null; do
      [ "$tries" -lt 250 ] || break
      sleep 0.02
      tries=$((tries + 1))
    done
  done
} &
watcher=$!

exec 3<&-

wait "$server"
: > "$dir/failed"
wait "$watcher"

# A server that was killed leaves its pid file, whose seventh line names the segment of shared memory that it could not give back.
set -- $(sed -n 7p "$dir/data/postmaster.pid" 2> /dev/null)
[ -n "$2" ] && ipcrm -m "$2" 2> /dev/null
cd / && rm -rf "$dir"
`
