import { drawnFromPeer } from "../drawn.js"

export default drawnFromPeer("async-cache-dedupe")
