"""--report: pages and images, what they hold, and how a browser draws them."""
