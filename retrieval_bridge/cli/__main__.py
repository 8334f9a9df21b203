from retrieval_bridge.cli import main

main()
