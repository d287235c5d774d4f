/**
 * How a statement that runs is stopped.
 *
 * @effect/sql-pg does it with another statement, for which it needs a second connection of the same pool: while the pool has none, nobody can be
 * interrupted, and afterwards the connection goes back with the statement still running on it. Here PostgreSQL's own request is sent, on a socket of
 * its own:
 *
 *   interrupted ─▶ CancelRequest ─┬─▶ the statement has ended and the request's socket is closed: nothing can hit a later statement
 *                                 └─▶ no answer within a second: the connection is destroyed
 *
 * All times here are real ones: a test that stands still must not keep a connection.
 */
import { Effect } from "effect"
import type { Driver, Wire } from "./pgclient.js"

/** How long a statement may take to end after it was asked to, in milliseconds. */
const patience = 1000

/** When it is asked again: a request that overtakes its statement finds nothing to stop. */
const askedAgain = [50, 250]

export const abort = (driver: Driver) => {
  // Tells the driver that the end is meant; the socket does not wait for the server to agree.
  Promise.resolve(driver.end()).catch(() => {})
  driver.connection.stream.destroy()
}

/** Sends a CancelRequest the way the driver itself reaches the server; `over` is told whether it got there. */
const request = (driver: Driver, processId: number, over: (sent: boolean) => void): Wire => {
  // Sound: the class of the driver's own connection, made as the driver makes it.
  const Connection = driver.connection.constructor as new (options: {
    readonly ssl: unknown
    readonly sslNegotiation: string | undefined
  }) => Wire
  const wire = new Connection({ ssl: driver.ssl, sslNegotiation: driver.sslNegotiation })
  let sent = false
  const send = () => {
    sent = true
    wire.cancel(processId, driver.secretKey)
  }
  wire.on("connect", () => {
    if (!driver.ssl) send()
    else if (driver.sslNegotiation !== "direct") wire.requestSsl()
  })
  wire.on("sslconnect", send)
  wire.on("error", () => wire.stream.destroy())
  // The server closes the socket when the signal is on its way.
  wire.on("end", () => over(sent))
  if (driver.host.startsWith("/")) wire.connect(`${driver.host}/.s.PGSQL.${driver.port}`)
  else wire.connect(driver.port, driver.host)
  return wire
}

/** Stops the statement that runs; `ended` takes who wants to hear of its end. */
export const stop = (driver: Driver, ended: (listener: () => void) => void): Effect.Effect<void> =>
  Effect.async<void>((resume) => {
    const requests = new Set<Wire>()
    const timers: Array<NodeJS.Timeout> = []
    let isOver = false
    let isAborted = false
    const settle = () => {
      if (!isOver || requests.size > 0) return
      for (const timer of timers) clearTimeout(timer)
      resume(Effect.void)
    }
    const giveUp = () => {
      if (isAborted) return
      isAborted = true
      for (const timer of timers) clearTimeout(timer)
      abort(driver)
      // Nobody gets this connection any more: a request that comes late hits nothing.
      for (const wire of requests) wire.stream.destroy()
      requests.clear()
      settle()
    }
    ended(() => {
      isOver = true
      settle()
    })
    const ask = () => {
      if (isOver || isAborted) return
      if (driver.processID === null) return giveUp()
      const wire = request(driver, driver.processID, (sent) => {
        requests.delete(wire)
        if (!sent && !isOver) giveUp()
        else settle()
      })
      requests.add(wire)
    }
    for (const delay of askedAgain) timers.push(setTimeout(ask, delay))
    timers.push(setTimeout(giveUp, patience))
    ask()
  })
