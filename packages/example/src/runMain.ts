/** Runs the program as a process: Ctrl-C ends it with its finalizers, a failure ends it with one readable message and exit code 1. */
import { Cause, Effect, Exit } from "effect"

const exitCodes = { SIGINT: 130, SIGTERM: 143 }

export const messageOf = (error: unknown): string =>
  error instanceof Error && error.message !== "" ? error.message : String(error)

/** What a reader can act on; the whole cause, with its stacks and spans, only when DEBUG asks for it. */
const report = (cause: Cause.Cause<unknown>): string =>
  process.env.DEBUG ? Cause.pretty(cause, { renderErrorCause: true }) : `effecto: ${messageOf(Cause.squash(cause))}`

export const runMain = <A, E>(program: Effect.Effect<A, E>): void => {
  let exitCode: number | undefined
  const fiber = Effect.runFork(program)
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      if (exitCode !== undefined) process.exit(exitCode)
      exitCode = exitCodes[signal]
      fiber.unsafeInterruptAsFork(fiber.id())
    })
  }
  // A reader that has seen enough (`npm start | head`) is no failure.
  process.stdout.on("error", () => fiber.unsafeInterruptAsFork(fiber.id()))
  fiber.addObserver((exit) => {
    if (Exit.isFailure(exit) && !Cause.isInterruptedOnly(exit.cause)) {
      process.stderr.write(`\n${report(exit.cause)}\n`)
      exitCode ??= 1
    }
    process.exit(exitCode ?? 0)
  })
}
