/** Says in one line why a connection could not be made and what to do, from whatever the driver reported. */

const byCode: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there. Start the server, or correct the host and port in DATABASE_URL.",
  ENOENT: "there is no socket at that path. Start the server, or correct the path in DATABASE_URL.",
  ENOTFOUND: "there is no host of that name. Correct DATABASE_URL.",
  EAI_AGAIN: "the name of the host could not be looked up. Check the network, or correct DATABASE_URL.",
  ETIMEDOUT: "no answer in time. Check the network and the host in DATABASE_URL.",
  EHOSTUNREACH: "the host cannot be reached. Check the network and the host in DATABASE_URL.",
  ENETUNREACH: "the network cannot be reached. Check it, and the host in DATABASE_URL.",
  ECONNRESET: "it closed the connection. Is it PostgreSQL that listens there?",
  "28P01": "it refused the password. Correct the user and password in DATABASE_URL.",
  "28000": "it refused the user. Correct DATABASE_URL, or allow the user in the server's pg_hba.conf.",
  "3D000": "it has no such database. Create it, or correct DATABASE_URL.",
  "42501": "its user may not do that. Give it the right (alter role … createdb), or use another user in DATABASE_URL.",
  "53300": "it has no connection left. Close some, or raise its max_connections.",
  "57P03": "it is starting up or shutting down. Try again in a moment."
}

/** The chain of causes, outermost first. */
const causes = function* (error: unknown): Generator<object> {
  for (let at = error; typeof at === "object" && at !== null; at = "cause" in at ? at.cause : undefined) yield at
}

export const connectionProblem = (error: unknown): string => {
  let last: string | undefined
  for (const cause of causes(error)) {
    if ("code" in cause && cause.code === "ENOENT" && "syscall" in cause && cause.syscall === "open")
      return `a file that DATABASE_URL names cannot be read (${messageOf(cause)}). Correct its path.`
    if ("code" in cause && typeof cause.code === "string")
      return byCode[cause.code] ?? `${messageOf(cause)} (${cause.code})`
    last = messageOf(cause) ?? last
  }
  if (last === undefined) return String(error)
  return /password must be a string/.test(last) ? "it asks for a password. Add one to DATABASE_URL." : `${last}.`
}

const messageOf = (cause: object): string | undefined =>
  "message" in cause && typeof cause.message === "string" && cause.message !== "" ? cause.message : undefined
