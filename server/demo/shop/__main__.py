from server.demo.shop.program import main

raise SystemExit(main())
