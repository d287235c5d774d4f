// Starts a server, says that it is up, and then holds it until it is told to end or is killed.
import { PostgresServer } from "@effecto/core"
import { Effect } from "effect"

const program = Effect.scoped(
  Effect.flatMap(PostgresServer.make(), () =>
    Effect.async(() => {
      process.stdout.write("up\n")
      setInterval(() => {}, 1 << 30)
    })
  )
)
const fiber = Effect.runFork(program)
process.on("SIGINT", () => Effect.runFork(fiber.interruptAsFork(fiber.id())))
fiber.addObserver(() => process.exit(130))
