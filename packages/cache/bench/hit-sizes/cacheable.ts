import { drawnFromPeer } from "../drawn.js"

export default drawnFromPeer("cacheable")
