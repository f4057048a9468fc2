"""Every page of the book, dark: whole, without a network, wide and narrow, open to assistive technology."""

import pytest
from book_pages import test_no_serious_obstacle_for_assistive_technology, test_page_is_whole

__all__ = ["test_no_serious_obstacle_for_assistive_technology", "test_page_is_whole"]
pytestmark = pytest.mark.browser
THEME = "dark"
